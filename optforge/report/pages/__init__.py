"""Results as self-contained HTML pages: data, figures and code in one file, read offline."""
