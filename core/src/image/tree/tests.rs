//! Trees as layers: written, unpacked again and compared, and seen by overlayfs itself.
