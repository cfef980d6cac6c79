# Descriptions of model families, one TOML each:
# nobase_dist_pkgdata_DATA += %D%/FAMILY.toml
