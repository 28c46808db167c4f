// Numbers, money, sizes and times as people read them, in the viewer's zone.

import { locale } from "./texts";

const number = new Intl.NumberFormat(locale);
const exactTime = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
const dayAndClock = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" });

export const integer = (value: number) => number.format(value);

/** US dollars, with as many digits as it takes to see something. */
export function money(value: number): string {
  const digits = value === 0 || value >= 1 ? 2 : value >= 0.01 ? 3 : Math.min(6, 2 - Math.floor(Math.log10(value)));
  return "$" + value.toFixed(digits);
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(value, 1)) / 10), units.length - 1);
  const scaled = value / 2 ** (10 * power);
  return `${scaled.toFixed(power && scaled < 10 ? 1 : 0)} ${units[power]}`;
}

/** A length of time, given in milliseconds, by its two largest units. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const from = parts.findIndex(([value]) => value > 0);
  return parts
    .slice(from, from + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

export const exact = (time: string) => exactTime.format(new Date(time));

/** The time of day; with the day, unless that is today. */
export function clockTime(time: string, now = new Date()): string {
  const at = new Date(time);
  return (at.toDateString() === now.toDateString() ? clock : dayAndClock).format(at);
}

const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [30, "day"],
  [12, "month"],
  [Infinity, "year"],
];

export function ago(time: string, now = Date.now()): string {
  let value = (new Date(time).getTime() - now) / 1000;
  for (const [size, unit] of STEPS) {
    if (Math.abs(value) < size) return relative.format(Math.round(value), unit);
    value /= size;
  }
  return "";
}
