// Stacked columns per day, with the same numbers as a table for who does not see them.

import { useState } from "preact/hooks";
import { t } from "../texts";

export interface Series {
  name: string;
  /** Of the style sheet. */
  class: string;
  values: number[];
}

const WIDTH = 600;
const HEIGHT = 120;

export function Columns(props: { title: string; days: string[]; series: Series[]; text: (value: number) => string }) {
  const { days, series, text } = props;
  const [at, setAt] = useState<number>();
  const sums = days.map((_, day) => series.reduce((sum, { values }) => sum + values[day]!, 0));
  const most = Math.max(...sums);
  if (!most) return <p class="faint">{t.overview.noData}</p>;
  const step = WIDTH / days.length;
  const shown = at ?? days.length - 1;
  return (
    <figure class="chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" onPointerLeave={() => setAt(undefined)}>
        {days.map((day, index) => {
          let top = HEIGHT;
          return (
            <g key={day} onPointerEnter={() => setAt(index)} class={index === at ? "at" : ""}>
              <rect class="ground" x={index * step} y={0} width={step} height={HEIGHT} />
              {series.map(({ name, class: kind, values }) => {
                const height = (values[index]! / most) * (HEIGHT - 4);
                top -= height;
                return <rect key={name} class={kind} x={index * step + 1} y={top} width={step - 2} height={height} />;
              })}
            </g>
          );
        })}
      </svg>
      <div class="legend" aria-hidden="true">
        <strong>{days[shown]}</strong>
        {series.map(({ name, class: kind, values }) => (
          <span key={name}>
            <i class={kind} /> {name} <span class="number">{text(values[shown]!)}</span>
          </span>
        ))}
      </div>
      <div class="hidden">
        <table>
          <caption>{props.title}</caption>
          <thead>
            <tr>
              <th scope="col">{t.overview.day}</th>
              {series.map(({ name }) => <th key={name} scope="col">{name}</th>)}
            </tr>
          </thead>
          <tbody>
            {days.map((day, index) =>
              sums[index] ? (
                <tr key={day}>
                  <th scope="row">{day}</th>
                  {series.map(({ name, values }) => <td key={name}>{text(values[index]!)}</td>)}
                </tr>
              ) : null,
            )}
          </tbody>
        </table>
      </div>
    </figure>
  );
}
