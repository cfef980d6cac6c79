# Measurements that take long; nothing here is run by make check.
