"""What the tests stand on: a server process, a raw HTTP client, a model of run search, readers of the lake."""
