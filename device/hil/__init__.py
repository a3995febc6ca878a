"""Hardware in the loop: recordings through a real loudspeaker and microphone to the broker, judged by pytest."""
