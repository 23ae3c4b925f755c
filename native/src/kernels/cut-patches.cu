// Images as bytes -> patches as the image tower's first product reads them: every byte becomes the number that a table has for it.
//
// A block has one patch at a time. Its threads write neighbouring numbers, COLUMNS each; the bytes of a patch are few, and come from the cache
// for all three colours.
//
// Constants: THREADS, COLUMNS (16 bytes), TYPE (dtype of the patches), PATCH (pixels of a side), WHOLE (whether a patch's numbers and the
// address allow COLUMNS at once).
KERNEL(cut_patches, CutPatches, 1024) {
  using namespace laclip::kernels;
  const int colours = 3, area = PATCH * PATCH, size = colours * area;
  for (long long patch = block(); patch < a.patches; patch += blocks()) {
    const long long image = patch / a.each;
    const long long place = a.kept == nullptr ? patch % a.each : read_index(a.kept, patch);
    const long long row = place / a.columns * PATCH, column = place % a.columns * PATCH;
    for (int start = thread() * COLUMNS; start < size; start += THREADS * COLUMNS) {
      float out[COLUMNS_MOST];
      UNROLL for (int i = 0; i < COLUMNS; i++) {
        const int at = start + i, colour = at / area, y = at % area / PATCH, x = at % PATCH;
        out[i] = at < size ? looked_up(a.table, 256 * colour, read_byte(a.pixels, ((image * a.side + row + y) * a.side + column + x) * colours + colour))
                           : 0.0f;
      }
      write(out, a.out, patch * size + start, size - start, TYPE, WHOLE);
    }
  }
}
