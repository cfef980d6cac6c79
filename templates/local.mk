# What `qtk plugin new` copies, a folder per kind:
# nobase_dist_pkgdata_DATA += %D%/KIND/FILE
