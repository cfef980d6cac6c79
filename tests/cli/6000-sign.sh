# Keys, signatures and what they say, also to another program.
. "$QTK_SRCDIR/tests/cli/lib.sh"
model=$QTK_SRCDIR/tests/data/nano/llama
test -d "$model" || skip "no $model"

expect_status 0 qtk key new mine.key --comment "A. Person"
expect_text "no passphrase" out
expect_text "public key mine.pub" out
test "$(stat -c %a mine.key)" = 600 || fail "others may read the secret key"
print=$(sed -n 's/^fingerprint //p' out)
test "$(cut -d' ' -f2 mine.pub | base64 -d | sha256sum | cut -c 1-64)" = "$print" ||
  fail "fingerprint $print"
expect_status 0 qtk key show mine.key
head -n 1 out | cmp - mine.pub || fail "show mine.key is not mine.pub"
expect_status 0 qtk key show mine.pub
expect_text "$print" out
expect_status 0 qtk key new theirs.key
cp mine.key kept.key
expect_status 3 qtk key new mine.key
expect_text "mine.key: exists, and a key is never written over" err
cmp mine.key kept.key || fail "another mine.key"
expect_status 1 qtk key new mine
expect_text 'the name of a secret key is NAME.key' err
expect_status 3 qtk key show "$model/config.json"

cat >job.toml <<END
[model]
path = "$model"
[[stage]]
run = "quantize"
method = "rtn"
END
expect_status 0 qtk run job.toml
expect_status 0 qtk bundle verify job.qtk
expect_text "not signed" out
expect_status 8 qtk bundle verify job.qtk --key mine.pub
expect_text "job.qtk: not signed; wanted is the key $print" err

expect_status 1 qtk bundle sign job.qtk
expect_text "--key is missing" err
expect_status 3 qtk bundle sign job.qtk --key mine.pub
expect_text "mine.pub: a public key cannot sign" err
expect_status 0 qtk bundle sign job.qtk --key mine.key
expect_text "job.qtk: signed by $print" out
expect_status 0 qtk bundle verify job.qtk
expect_text "signed by $print" out
expect_text "the signature is right; --key FILE" out
expect_status 0 qtk bundle verify --key mine.pub job.qtk
expect_text "that is the key that was wanted" out
expect_status 0 qtk inspect job.qtk
expect_text "signed by $print" out
expect_status 8 qtk bundle verify --key theirs.pub job.qtk
expect_text "signed by $print; wanted is the key" err
expect_status 3 qtk bundle verify --key mine.key job.qtk
expect_text "mine.key: a secret key" err
chmod 644 kept.key
expect_status 0 qtk key show kept.key
expect_text "others than its owner may use this secret key: its mode is 644" err

# It is a bundle as before, for tar too.
expect_status 0 qtk eval job.qtk "$QTK_SRCDIR/examples/text/evaluate.txt" --context 128 --windows 1
test "$(tar tf job.qtk | tail -n 1)" = signature || fail "tar shows no signature at the end"

# The recipe of qtk-bundle(5) for another program.
if command -v openssl >/dev/null; then
  tar xf job.qtk manifest.toml signature
  (printf '\60\52\60\5\6\3\53\145\160\3\41\0'; cut -d' ' -f2 mine.pub | base64 -d) >public.der
  cut -d' ' -f3 signature | base64 -d >signature.bin
  openssl pkeyutl -verify -pubin -keyform DER -inkey public.der -rawin -in manifest.toml \
    -sigfile signature.bin >out || fail "openssl says no"
  test "$(cut -d' ' -f2 signature)" = "$(cut -d' ' -f2 mine.pub)" || fail "another key in it"
  echo "verified by openssl"
else
  echo "no openssl: not verified by another program"
fi

# A member that was changed: found by its digest; only what is whole is signed.
cp job.qtk changed.qtk
size=$(stat -c %s changed.qtk)
printf x | dd of=changed.qtk bs=1 seek=$((size / 2)) conv=notrunc status=none
expect_status 3 qtk bundle verify --key mine.pub changed.qtk
expect_status 3 qtk bundle sign --key theirs.key changed.qtk

# Signed again by another: the first one's name is said.
expect_status 0 qtk bundle sign job.qtk --key theirs.key
expect_text "in place of the signature by $print" out
expect_status 8 qtk bundle verify --key mine.pub job.qtk
expect_status 0 qtk bundle verify --key theirs.pub job.qtk
