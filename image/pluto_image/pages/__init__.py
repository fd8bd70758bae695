"""Pages for people: HTML by jinja2, one self-contained file each. `pages.render` makes them of templates."""
