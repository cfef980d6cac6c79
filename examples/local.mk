# Job files, which the tests also run:
# nobase_dist_pkgdata_DATA += %D%/NAME.toml
