// Dark or light: as the system has it, until it is chosen here.

const KEY = "saliency-tubes.theme";
type Theme = "dark" | "light";

export function applyTheme(): void {
  let kept: string | null = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    // storage may be forbidden
  }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
}

export function toggleTheme(): void {
  const next: Theme = current() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // then it is for this visit
  }
}

function current(): Theme {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "dark" || chosen === "light") return chosen;
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}
