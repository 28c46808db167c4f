// A list of any length of which only what can be seen is in the page. Rows may differ in height and change it.

import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useReducer, useRef } from "preact/hooks";

interface Props<T> {
  items: T[];
  id: (item: T) => number;
  /** Height of a row that was not yet seen, in pixels. */
  estimate: number;
  row: (item: T, index: number) => ComponentChildren;
  label: string;
  /** Called near the end and near the beginning. */
  atEnd?: () => void;
  atStart?: () => void;
  /** Keeps the last row in view as rows are added. */
  follow?: boolean;
  /** Rows that come before the first one are not shown before somebody scrolls to them. */
  keepFirst?: boolean;
  onScroll?: (list: HTMLElement) => void;
  /** Row that has to be in view, by index; changes of it scroll. */
  focus?: number | undefined;
  list?: RefObject<HTMLDivElement>;
  class?: string;
}

const OVERSCAN = 6;
const NEAR = 600;

export function VirtualList<T>(props: Props<T>) {
  const { items, id, estimate } = props;
  const own = useRef<HTMLDivElement>(null);
  const box = props.list ?? own;
  const heights = useRef(new Map<number, number>()).current;
  const [version, changed] = useReducer((count: number) => count + 1, 0);
  const [, scrolled] = useReducer((count: number) => count + 1, 0);

  const tops = useMemo(() => {
    const tops = new Float64Array(items.length + 1);
    items.forEach((item, index) => (tops[index + 1] = tops[index]! + (heights.get(id(item)) ?? estimate)));
    return tops;
  }, [items, version]);

  const observer = useMemo(
    () =>
      new ResizeObserver((entries) => {
        let different = false;
        for (const entry of entries) {
          const row = Number((entry.target as HTMLElement).dataset.row);
          const height = entry.borderBoxSize[0]!.blockSize;
          // A row that has left the page has no height; what it had stays true.
          if (!height || Math.abs((heights.get(row) ?? estimate) - height) < 0.5) continue;
          heights.set(row, height);
          different = true;
        }
        if (different) changed(0);
      }),
    [],
  );
  useEffect(() => () => observer.disconnect(), []);

  // The row at the top of the view stays where it is when rows come before it or change their height.
  const anchor = useRef<{ row: number; offset: number }>();
  useLayoutEffect(() => {
    const list = box.current;
    if (!list) return;
    if (props.keepFirst && items[0] !== undefined) anchor.current ??= { row: id(items[0]), offset: 0 };
    if (props.follow) {
      list.scrollTop = list.scrollHeight;
    } else if (anchor.current) {
      const index = items.findIndex((item) => id(item) === anchor.current!.row);
      if (index >= 0) {
        const wanted = tops[index]! + anchor.current.offset;
        if (Math.abs(list.scrollTop - wanted) > 1) list.scrollTop = wanted;
      }
    }
    scrolled(0);
  }, [tops, props.follow]);

  useEffect(() => {
    const list = box.current;
    if (!list || props.focus === undefined || props.focus >= items.length) return;
    const [top, end] = [tops[props.focus]!, tops[props.focus + 1]!];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (end > list.scrollTop + list.clientHeight) list.scrollTop = end - list.clientHeight;
  }, [props.focus]);

  const view = box.current;
  const start = view?.scrollTop ?? 0;
  const height = view?.clientHeight || 800;
  const first = Math.max(0, find(tops, start) - OVERSCAN);
  const last = Math.min(items.length, find(tops, start + height) + 1 + OVERSCAN);

  const onScroll = () => {
    const list = box.current!;
    const top = find(tops, list.scrollTop);
    const item = items[top];
    anchor.current = item && (list.scrollTop > 0 || props.keepFirst) ? { row: id(item), offset: list.scrollTop - tops[top]! } : undefined;
    if (list.scrollTop + list.clientHeight > list.scrollHeight - NEAR) props.atEnd?.();
    if (list.scrollTop < NEAR) props.atStart?.();
    props.onScroll?.(list);
    scrolled(0);
  };

  useEffect(() => {
    const list = box.current!;
    const resize = new ResizeObserver(() => scrolled(0));
    resize.observe(list);
    return () => resize.disconnect();
  }, []);

  return (
    <div ref={box} class={`virtual ${props.class ?? ""}`} onScroll={onScroll} tabIndex={0} role="group" aria-label={props.label}>
      <ol style={{ height: `${tops[items.length]}px` }}>
        {items.slice(first, last).map((item, offset) => (
          <Row key={id(item)} row={id(item)} top={tops[first + offset]!} observer={observer} index={first + offset} all={items.length}>
            {props.row(item, first + offset)}
          </Row>
        ))}
      </ol>
    </div>
  );
}

interface RowProps {
  row: number;
  top: number;
  index: number;
  all: number;
  observer: ResizeObserver;
  children: ComponentChildren;
}

function Row({ row, top, index, all, observer, children }: RowProps) {
  const element = useRef<HTMLLIElement>(null);
  useEffect(() => {
    const observed = element.current!;
    observer.observe(observed);
    return () => observer.unobserve(observed);
  }, []);
  return (
    <li ref={element} data-row={row} aria-posinset={index + 1} aria-setsize={all} style={{ transform: `translateY(${top}px)` }}>
      {children}
    </li>
  );
}

/** The last index whose top is at or before `position`. */
function find(tops: Float64Array, position: number): number {
  let [low, high] = [0, Math.max(0, tops.length - 2)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (tops[middle]! <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
