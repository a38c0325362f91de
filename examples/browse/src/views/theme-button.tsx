import { type Theme, theme } from "../state/theme.ts";
import { Icon, type IconName } from "./icon.tsx";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const ICONS: Record<Theme, IconName> = { system: "system", light: "sun", dark: "moon" };

export function ThemeButton() {
  const now = theme.value;
  const label = `Colours: ${now === "system" ? "as the system has them" : now}. Change to ${NEXT[now]}`;
  return (
    <button
      type="button"
      class="button icon-only quiet"
      aria-label={label}
      title={label}
      onClick={() => {
        theme.value = NEXT[now];
      }}
    >
      <Icon name={ICONS[now]} />
    </button>
  );
}
