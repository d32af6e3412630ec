"""Programs that use lightvec as its users do; each can be run by itself."""
