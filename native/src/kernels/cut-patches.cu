// Images as bytes -> patches as the image tower's first product reads them: every byte becomes the number that a table has for it.
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
    const int row = place / a.columns * PATCH, column = place % a.columns * PATCH;
    const unsigned char* corner = a.pixels + ((static_cast<long long>(image) * a.side + row) * a.side + column) * colours;
    for (int start = thread() * COLUMNS; start < size; start += THREADS * COLUMNS) {
      float out[COLUMNS_MOST];
      UNROLL for (int i = 0; i < COLUMNS; i++) {
        const int at = start + i, colour = at / area, y = at % area / PATCH, x = at % PATCH;
        out[i] = at < size ? looked_up(a.table, 256 * colour, read_byte(corner, (y * a.side + x) * colours + colour)) : 0.0f;
      }
      write(out, a.out, patch * size + start, size - start < COLUMNS ? size - start : COLUMNS, TYPE, WHOLE);
    }
  }
}
