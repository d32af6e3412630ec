"""A function for AWS Lambda: what runs there is in ``function``, README.md is the guide."""
