"""What is served: configurations, versions and how they are loaded."""
