"""What the project's own checks and releases need; not part of the package."""
