"""The pages that Airflow's API server shows: the fleet, a running incident, one run, rehearsals, starting a restore.

Only that process imports them. Each is behind Airflow's login and its permissions on DAGs; nothing here listens on a
port or keeps data: everything comes from the store and from Airflow's own database, and is only read.
"""
