#!/bin/sh
# check_shared.sh CHECK_GOLDEN FOLDER: the reference files beside the repository, where there are any (else: skipped).
# Files that must be complete are told by their first letters; one that loses its checks fails.
set -u
[ -d "$2" ] || { echo "no reference files at $2"; exit 77; }
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
status=0
"$1" "$2"/a_*.safetensors "$2"/b_*.safetensors "$2"/c_*.safetensors "$2"/d_*.safetensors \
  "$2"/k_*.safetensors "$2"/e_*.safetensors "$2"/i_*.safetensors "$2"/g_units.safetensors "$2"/v_*.safetensors \
  >"$log" || status=1
cat "$log"
for name in a_msa2023_2d a_msa2025_2d b_sam_2d c_msa2023_3d c_msa2025_3d \
  c_msa2025_3d_nochunk c_sdtrans_fixed_3d d_interp_encoder d_msa2025_img96 k_hash_mid_msa2023 \
  e_grads_msa2025_2d e_grads_full_msa2023_2d e_grads_msa2023_3d i_decoder_adapters v_lora v_adalora v_effsam v_mobile_hash; do
  grep -Eq "^$name .* checked=[1-9][0-9]* skipped=0 ok\$" "$log" || { echo "$name is not complete"; status=1; }
done
grep -Eq '^g_units .* checked=[1-9][0-9]* ' "$log" || { echo "g_units was not checked"; status=1; }
exit $status
