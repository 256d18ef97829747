"""Rules of Tidegate: pure, no AWS, no clock, no environment."""
