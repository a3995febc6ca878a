"""Pure: from the samples of a stream to a request, as speech is heard, waited for and cut."""
