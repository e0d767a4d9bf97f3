"""Generated from proto/ by `just proto`."""
