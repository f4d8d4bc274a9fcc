"""What comes in (checked) and what goes out (described), as marshmallow schemas."""
