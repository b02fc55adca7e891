"""What comes back: a catalogue from the bucket and the custodian, and how an old one is known."""
