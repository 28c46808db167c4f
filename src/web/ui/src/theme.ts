// Dark or light: as the system has it, unless somebody chose here.

export type Theme = "system" | "light" | "dark";

export const theme = (): Theme => (localStorage.getItem("theme") as Theme | null) ?? "system";

export function applyTheme(chosen: Theme = theme()) {
  if (chosen === "system") {
    localStorage.removeItem("theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("theme", chosen);
    document.documentElement.dataset.theme = chosen;
  }
}
