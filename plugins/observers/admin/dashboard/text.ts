/** Figures as people read them. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export const integer = (value: number): string => whole.format(value);
/** Small rates with a decimal, large ones without. */
export const rate = (value: number): string => (value >= 100 ? whole.format(value) : tenths.format(value));

export function milliseconds(value: number | null): string {
  if (value === null) return '–';
  return value >= 100 ? whole.format(value) : value >= 10 ? tenths.format(value) : value.toFixed(2);
}

/** The two largest units. */
export function duration(seconds: number): string {
  const left = Math.floor(seconds);
  const parts = [Math.floor(left / 86_400), Math.floor(left / 3600) % 24, Math.floor(left / 60) % 60, left % 60];
  const units = ['d', 'h', 'min', 's'];
  const first = parts.findIndex((part) => part > 0);
  if (first < 0) return '0 s';
  return parts
    .map((part, index) => `${part} ${units[index]}`)
    .slice(first, first + 2)
    .join(' ');
}
