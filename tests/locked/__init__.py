"""lightvec where nearly everything is forbidden."""
