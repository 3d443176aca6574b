"""How Beam runs inside a component."""

# The runner: Beam's own choice first tries to download one. The image: no worker is started from it, Beam runs in this
# process; but where none is named, each component packs all of TFX for such workers, which takes seconds and leaves
# 49 MB in the folder for temporary files.
BEAM_ARGS = ("--runner=FnApiRunner", "--sdk_container_image=none")
