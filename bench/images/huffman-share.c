// What libjpeg-turbo spends on reading a JPEG's bits: its decoding at the whole size, and at an eighth, where little else is left to do.
//
//   cc -O2 -o /tmp/huffman-share bench/images/huffman-share.c -l:libjpeg.a
//   /tmp/huffman-share 8 PHOTO.jpg
//   /tmp/huffman-share 1 PHOTO.jpg
//   perf record -e cpu-clock -o /tmp/perf.data /tmp/huffman-share 1 PHOTO.jpg; perf report -i /tmp/perf.data --stdio
//
// The static library keeps its names for perf: decode_mcu is the Huffman decoder.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jpeglib.h>

static double milliseconds(const unsigned char* bytes, size_t size, int eighths) {
  struct timespec from, to;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
  struct jpeg_decompress_struct info;
  struct jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes, size);
  jpeg_read_header(&info, TRUE);
  info.scale_num = eighths;
  info.scale_denom = 8;
  jpeg_start_decompress(&info);
  JSAMPROW row = malloc((size_t)info.output_width * info.output_components);
  while (info.output_scanline < info.output_height) jpeg_read_scanlines(&info, &row, 1);
  free(row);
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
  return (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6;
}

int main(int count, char** paths) {
  const int eighths = count > 2 ? atoi(paths[1]) : 0;
  if (eighths < 1 || eighths > 8) return fprintf(stderr, "usage: huffman-share EIGHTHS PHOTO.jpg...\n"), 2;
  for (int i = 2; i < count; i++) {
    FILE* file = fopen(paths[i], "rb");
    if (file == NULL) return perror(paths[i]), 1;
    fseek(file, 0, SEEK_END);
    const size_t size = ftell(file);
    rewind(file);
    unsigned char* bytes = malloc(size);
    if (fread(bytes, 1, size, file) != size) return perror(paths[i]), 1;
    fclose(file);
    double best = 1e9;
    for (int round = 0; round < 20; round++) {
      const double now = milliseconds(bytes, size, eighths);
      if (now < best) best = now;
    }
    printf("%s: %.1f ms\n", paths[i], best);
    free(bytes);
  }
  return 0;
}
