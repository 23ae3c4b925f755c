/**
 * Amounts in words: shares, counts, bytes and durations read the same wherever they are printed.
 *
 * Shares and differences between shares are given as parts of 1 and printed as parts of 100.
 */

/** A share, with so many decimals: 0.0873 -> "8.7 %". */
export function percent(share: number, decimals = 1): string {
  return `${points(share, decimals)} %`;
}

/** So many of a whole, which may be nothing at all: (3, 40) -> "7.5 %", (0, 0) -> "0.0 %". Both are counts. */
export function percentOf(part: number, whole: number): string {
  return percent(part / Math.max(1, whole));
}

/**
 * A share without zeros at its end, to so many significant digits: 0.5 -> "50 %", 0.0125 -> "1.25 %". For limits as somebody set them and the
 * ticks of an axis, and with fewer digits for shares that may be tiny.
 */
export function shortPercent(share: number, significant = 6): string {
  return `${Number((100 * share).toPrecision(significant))} %`;
}

/** A share as a number of per cent, where the sign stands elsewhere: 0.4838 -> "48.4". */
export function points(share: number, decimals = 1): string {
  return (100 * share).toFixed(decimals);
}

/** A difference between shares in points, with a true minus: 0.012 -> "+1.2", -0.012 -> "−1.2"; what rounds to nothing has no sign, "0.0". */
export function signedPoints(difference: number): string {
  const size = points(Math.abs(difference));
  if (Number(size) === 0) return size;
  return `${difference < 0 ? "−" : "+"}${size}`;
}

/** A count with its thousands apart: 1234567 -> "1,234,567". */
export function thousands(count: number): string {
  return count.toLocaleString("en-US");
}

const units = ["B", "kB", "MB", "GB", "TB"];

/** Bytes in decimal units, with a decimal below a hundred of them: 834 -> "834 B", 1234567 -> "1.2 MB", 13.4e9 -> "13.4 GB". */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let unit = 0;
  // From here on a number would read as a thousand.
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(unit === 0 || value >= 99.95 ? 0 : 1)} ${units[unit]}`;
}

/** Bytes of a memory or a disk as a number of GiB (2^30 bytes), as their makers and drivers count: 8589934592 -> "8.0". */
export function gibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}

/** 75 seconds -> "1m15s"; 3700 -> "1h01m"; 4 -> "4s". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const pad = (n: number): string => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}m${pad(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${pad(Math.floor((whole % 3600) / 60))}m`;
}
