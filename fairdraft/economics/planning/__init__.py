"""Planning: draft lengths priced beforehand, and measured runs explained afterwards."""
