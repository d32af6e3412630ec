"""lightvec.django, on the real server."""
