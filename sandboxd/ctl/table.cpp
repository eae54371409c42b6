#include "sandboxd/ctl/table.hpp"

#include <algorithm>

#include "sandboxd/core/assert.hpp"

namespace sandboxd::ctl {

namespace {

// Characters, not bytes. Wide ones count as one: names here are ids and numbers.
std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string_view code_of(Colour colour) noexcept {
    switch (colour) {
        case Colour::none:
            return "";
        case Colour::green:
            return "\x1b[32m";
        case Colour::yellow:
            return "\x1b[33m";
        case Colour::red:
            return "\x1b[31m";
        case Colour::dim:
            return "\x1b[2m";
        case Colour::bold:
            return "\x1b[1m";
    }
    return "";
}

}  // namespace

std::string paint(std::string_view text, Colour colour, Palette palette) {
    if (palette == Palette::plain || colour == Colour::none) return std::string{text};
    return std::string{code_of(colour)} + std::string{text} + "\x1b[0m";
}

std::string printable(std::string_view text) {
    std::string out{text};
    for (std::size_t i = 0; i < out.size(); ++i) {
        const auto value = static_cast<unsigned char>(out[i]);
        if (value < 0x20 || value == 0x7f) out[i] = '?';
        // C1 controls in UTF-8 (U+0080 to U+009F), among them the one-character CSI.
        if (value == 0xC2 && i + 1 < out.size() && static_cast<unsigned char>(out[i + 1]) < 0xA0)
            out[i] = out[i + 1] = '?';
    }
    return out;
}

void Table::add(std::vector<Cell> cells) {
    SBX_ASSERT(cells.size() == columns_.size());
    for (Cell& cell : cells) cell.text = printable(cell.text);
    rows_.push_back(std::move(cells));
}

std::string Table::text(Palette palette) const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        std::size_t most = width(columns_[i].title);
        for (const auto& row : rows_) most = std::max(most, width(row[i].text));
        widths.push_back(most);
    }
    std::string out;
    const auto line = [&](const std::vector<Cell>& cells) {
        std::string text;
        for (std::size_t i = 0; i < cells.size(); ++i) {
            const std::string gap(widths[i] - width(cells[i].text), ' ');
            const std::string cell = paint(cells[i].text, cells[i].colour, palette);
            if (i > 0) text += "  ";
            text += columns_[i].align == Align::right ? gap + cell : cell + gap;
        }
        text.erase(text.find_last_not_of(' ') + 1);
        out += text + '\n';
    };
    std::vector<Cell> titles;
    for (const Column& column : columns_) titles.push_back({column.title, Colour::bold});
    line(titles);
    for (const auto& row : rows_) line(row);
    return out;
}

}  // namespace sandboxd::ctl
