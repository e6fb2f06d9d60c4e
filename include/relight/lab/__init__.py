"""A real fleet on one machine: for the demo, for rehearsals at home, and for the tests.

Stands apart from the recovery library, which never imports it. Everything the lab installs,
runs or records lies below one folder (:mod:`relight.lab.place`).
"""
