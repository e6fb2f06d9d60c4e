"""Airflow's REST API, from outside: start a restore, follow it, answer for a person. Nothing here imports Airflow."""
