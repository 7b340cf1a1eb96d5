"""The web page and the JSON API: `tfstyle app` (`pip install 'tfstyle[app]'`)."""
