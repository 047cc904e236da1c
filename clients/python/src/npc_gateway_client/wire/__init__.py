"""The wire protocol: frames, payloads and codecs. Pure: no I/O, no clock."""
