#include "language.h"

#include "base/mem.h"

#include <stddef.h>
#include <strings.h>

static const struct language languages[] = {
    {"ara", "ar", "العربية"},    {"ben", "bn", "বাংলা"},        {"bul", "bg", "Български"},
    {"ces", "cs", "Čeština"},    {"cze", "cs", "Čeština"},      {"chi", "zh", "中文"},
    {"zho", "zh", "中文"},       {"dan", "da", "Dansk"},        {"deu", "de", "Deutsch"},
    {"ger", "de", "Deutsch"},    {"dut", "nl", "Nederlands"},   {"nld", "nl", "Nederlands"},
    {"ell", "el", "Ελληνικά"},   {"gre", "el", "Ελληνικά"},     {"eng", "en", "English"},
    {"est", "et", "Eesti"},      {"fas", "fa", "فارسی"},        {"per", "fa", "فارسی"},
    {"fin", "fi", "Suomi"},      {"fra", "fr", "Français"},     {"fre", "fr", "Français"},
    {"heb", "he", "עברית"},      {"hin", "hi", "हिन्दी"},        {"hrv", "hr", "Hrvatski"},
    {"hun", "hu", "Magyar"},     {"ind", "id", "Indonesia"},    {"ita", "it", "Italiano"},
    {"jpn", "ja", "日本語"},     {"kor", "ko", "한국어"},       {"lav", "lv", "Latviešu"},
    {"lit", "lt", "Lietuvių"},   {"nob", "nb", "Norsk bokmål"}, {"nor", "no", "Norsk"},
    {"pol", "pl", "Polski"},     {"por", "pt", "Português"},    {"ron", "ro", "Română"},
    {"rum", "ro", "Română"},     {"rus", "ru", "Русский"},      {"slk", "sk", "Slovenčina"},
    {"slo", "sk", "Slovenčina"}, {"slv", "sl", "Slovenščina"},  {"spa", "es", "Español"},
    {"srp", "sr", "Српски"},     {"swe", "sv", "Svenska"},      {"tam", "ta", "தமிழ்"},
    {"tel", "te", "తెలుగు"},      {"tha", "th", "ไทย"},          {"tur", "tr", "Türkçe"},
    {"ukr", "uk", "Українська"}, {"urd", "ur", "اردو"},         {"vie", "vi", "Tiếng Việt"},
};
static const struct language unknown = {"und", "und", "Audio"};

const struct language *language_find(const char *code)
{
    for (size_t i = 0; code != NULL && i < ARRAY_SIZE(languages); i++)
        if (strcasecmp(languages[i].code, code) == 0 || strcasecmp(languages[i].tag, code) == 0)
            return &languages[i];
    return &unknown;
}
