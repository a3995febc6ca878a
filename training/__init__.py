"""How the shipped weights are made, and how they are judged: nothing here runs on the device."""
