"""Starts a request when the button between GPIO 27 and ground is pressed. A program of its own, not a hook."""

import signal
import subprocess

from gpiozero import Button


def listen():
    """Have the recorder listen; where it cannot, it says why on standard error."""
    subprocess.run(["wakeword-recorder", "listen"], check=False)


with Button(27, bounce_time=0.05) as button:
    button.when_pressed = listen
    signal.pause()
