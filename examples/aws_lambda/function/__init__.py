"""What Lambda gets; its handler is ``function.app.handler``."""
