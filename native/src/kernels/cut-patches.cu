// Images as bytes -> patches as the image tower's first product reads them, normalised.
//
// A block has one patch at a time. Its threads write neighbouring numbers, COLUMNS each; the bytes of a patch are few, and come from the cache
// for all three colours.
//
// Constants: THREADS, COLUMNS (16 bytes, or 4 numbers where a patch has no multiple of that), TYPE (dtype of the patches), PATCH (pixels of a
// side), WHOLE (whether a patch's numbers and the address allow COLUMNS at once).
KERNEL(cut_patches, CutPatches, 1024) {
  using namespace laclip::kernels;
  const int colours = 3, area = PATCH * PATCH, size = colours * area;
  for (long long patch = block(); patch < a.patches; patch += blocks()) {
    const int image = static_cast<int>(patch) / a.each;
    const int place = a.kept == nullptr ? static_cast<int>(patch) % a.each : static_cast<int>(read_index(a.kept, patch));
    const int top = place / a.across * PATCH, left = place % a.across * PATCH;
    const unsigned char* corner = a.pixels + ((static_cast<long long>(image) * a.side + top) * a.side + left) * colours;
    for (int start = thread() * COLUMNS; start < size; start += THREADS * COLUMNS) {
      float out[COLUMNS_MOST];
      UNROLL for (int i = 0; i < COLUMNS; i++) {
        const int at = start + i, colour = at / area, y = at % area / PATCH, x = at % PATCH;
        // Chosen, not indexed: what a thread indexes by a number of its own lies in memory.
        const float scale = colour == 0 ? a.scale[0] : colour == 1 ? a.scale[1] : a.scale[2];
        const float shift = colour == 0 ? a.shift[0] : colour == 1 ? a.shift[1] : a.shift[2];
        out[i] = WHOLE || at < size ? scaled(static_cast<float>(read_byte(corner, (y * a.side + x) * colours + colour)), scale, shift) : 0.0f;
      }
      write(out, a.out, patch * size + start, size - start, TYPE, WHOLE);
    }
  }
}
