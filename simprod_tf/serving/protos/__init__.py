"""Messages and services; setup.py makes the stubs of the .proto files."""
