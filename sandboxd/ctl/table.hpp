#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sandboxd::ctl {

enum class Colour { none, green, yellow, red, dim, bold };
enum class Palette { plain, coloured };

// The text as a terminal shows it in that colour; as it is on a plain one.
[[nodiscard]] std::string paint(std::string_view text, Colour colour, Palette palette);
// Control characters, which could be commands to a terminal, become '?'. For what sandboxes and
// servers name.
[[nodiscard]] std::string printable(std::string_view text);

enum class Align { left, right };
struct Column {
    std::string title;
    Align align = Align::left;
};
struct Cell {
    std::string text;
    Colour colour = Colour::none;
};

// Rows under titles, each column as wide as its widest cell, two blanks between; lines have no
// blanks at their end. Cells are made printable.
class Table {
public:
    explicit Table(std::vector<Column> columns) : columns_{std::move(columns)} {}
    void add(std::vector<Cell> cells);  // as many as there are columns
    [[nodiscard]] std::string text(Palette palette) const;
    [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }

private:
    std::vector<Column> columns_;
    std::vector<std::vector<Cell>> rows_;
};

}  // namespace sandboxd::ctl
