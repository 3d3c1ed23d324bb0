"""What a bundle is compared with."""
