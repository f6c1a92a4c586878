"""What all pages share: style, templates, and the library that turns surfaces."""
