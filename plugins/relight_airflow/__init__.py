"""What connects Airflow and Relight: operators that call one library function each."""
