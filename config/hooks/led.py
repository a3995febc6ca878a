"""Lights the LED at GPIO 17 for as long as a request may take to begin: on_wake = ["python3", "hooks/led.py"]."""

import time

from gpiozero import LED

with LED(17) as led:
    led.on()
    time.sleep(2)  # less than [hooks] timeout_s
