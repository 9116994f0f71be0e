/** What a person chose for this browser: language and theme. Nothing secret is kept here. */

export type Lang = 'en' | 'es';
export type Theme = 'system' | 'light' | 'dark';

function kept<T extends string>(name: string, allowed: readonly T[], otherwise: T): T {
  const value = localStorage.getItem(name);
  return allowed.find((one) => one === value) ?? otherwise;
}

class Settings {
  lang = $state<Lang>(kept('lang', ['en', 'es'], navigator.language.startsWith('es') ? 'es' : 'en'));
  theme = $state<Theme>(kept('theme', ['system', 'light', 'dark'], 'system'));

  /** Chooses a language. */
  speak(lang: Lang): void {
    this.lang = lang;
    localStorage.setItem('lang', lang);
  }

  /** Chooses a theme. */
  wear(theme: Theme): void {
    this.theme = theme;
    localStorage.setItem('theme', theme);
  }

  /** Puts the choice on the document; called in an effect. */
  apply(): void {
    document.documentElement.lang = this.lang;
    document.documentElement.dataset.theme = this.theme;
  }
}

/** The one choice. */
export const settings = new Settings();
